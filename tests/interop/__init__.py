"""Other projects' clients on our server, and our client on another's (`run.py`)."""
