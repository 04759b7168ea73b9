"""A program with state of its own, for test_process."""

import private_two

counter = 0


async def main(argv: list[str]) -> int:
    global counter
    counter += int(argv[0])
    private_two.values.append(argv[0])
    import private_three  # imported late, in a step

    private_three.values.append(argv[0])
    print(counter, private_two.values, private_three.values)
    return 0
