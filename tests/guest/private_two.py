values: list[str] = []
