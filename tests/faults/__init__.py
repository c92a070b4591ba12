"""The fault matrix: what is heard, lost and left behind when something goes wrong."""
