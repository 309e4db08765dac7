import sys

from reflectioncoder.cli import main
from reflectioncoder.train.sharding import leave, num_processes

if __name__ == "__main__":
    code = main()
    if num_processes() > 1:
        leave(code)
    sys.exit(code)
