import sys

from reflectioncoder.cli import main
from reflectioncoder.train.sharding import leave, world_size

if __name__ == "__main__":
    code = main()
    if world_size() > 1:
        leave(code)
    sys.exit(code)
