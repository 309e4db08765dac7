import sys

from reflectioncoder.cli import main

if __name__ == "__main__":
    sys.exit(main())
