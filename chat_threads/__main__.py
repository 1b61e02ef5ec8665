"""python -m chat_threads"""

from .cli import main

if __name__ == "__main__":
    main(prog_name="chat-threads")
