"""Finds models (folder, hub, package), loads them, and knows how each is spoken to."""
