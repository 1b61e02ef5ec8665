"""python -m chat_threads.client"""

from .terminal import PROGRAM, main

if __name__ == "__main__":
    main(prog_name=PROGRAM)
