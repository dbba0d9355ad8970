"""Loads a text line by line through redis-py's pipelines without a transaction, and reads it back. Usage: HOST PORT FILE"""

import sys

import redis

AT_ONCE = 1000


def main():
    host, port, path = sys.argv[1:]
    with open(path, "rb") as file:
        lines = file.read().splitlines()
    client = redis.Redis(host=host, port=int(port), socket_timeout=60)
    for first in range(0, len(lines), AT_ONCE):
        pipeline = client.pipeline(transaction=False)
        for number, line in enumerate(lines[first : first + AT_ONCE], first):
            pipeline.set(f"python:{number}", line)
        assert all(pipeline.execute()), f"not every SET from {first} on was OK"
    for first in range(0, len(lines), AT_ONCE):
        pipeline = client.pipeline(transaction=False)
        expected = lines[first : first + AT_ONCE]
        for number in range(first, first + len(expected)):
            pipeline.get(f"python:{number}")
        for number, (read, line) in enumerate(zip(pipeline.execute(), expected), first):
            assert read == line, f"line {number} is {read!r}, not {line!r}"
    print(f"{len(lines)} lines are equal")


main()
