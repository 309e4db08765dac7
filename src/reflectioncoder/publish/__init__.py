"""Publishes builds as data sets for other trainers (rows, their check, a card), and finished runs as model folders."""
