"""Listeners: what is measured, under which name. Nothing here can change or fail a request."""
