"""Finds models (folder, hub, package), loads them, and knows how to prompt each of them."""
