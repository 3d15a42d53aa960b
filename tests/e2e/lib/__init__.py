"""What the end-to-end tests share. Standard library only."""
