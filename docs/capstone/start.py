"""Where step 1 begins: a server that treats whatever recv() returns as a request. Copy it, and make it yours."""

import argparse
import json
import socket


def answer(request):
    """The answer to a request, as an object."""
    if request["type"] == "hello":
        return {"type": "welcome", "name": request["name"], "ref": request.get("ref")}
    return {"type": "error", "code": "unknown_type", "text": "There is no such request.", "ref": request.get("ref")}


def serve(sock):
    """Serve one client, to the end of its connection."""
    sock.sendall(b"* Welcome. Programs skip this line.\n")
    while data := sock.recv(4096):
        reply = answer(json.loads(data))
        sock.sendall(json.dumps(reply).encode() + b"\n")


def main():
    parser = argparse.ArgumentParser(description="A chat server.")
    parser.add_argument("--port", type=int, default=9000)
    options = parser.parse_args()
    with socket.create_server(("127.0.0.1", options.port)) as listener:
        while True:
            sock, _ = listener.accept()
            with sock:
                serve(sock)


if __name__ == "__main__":
    main()
