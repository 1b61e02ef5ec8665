#!/usr/bin/env bash
# Gradescope runs this once, as root, when it builds the machine on which hand-ins are graded.
set -e
apt-get update
apt-get install -y python3 python3-venv
python3 -m venv /autograder/venv
/autograder/venv/bin/pip install -e '/autograder/source/chat_threads[test]'
