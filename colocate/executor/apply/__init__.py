"""Making a plan true on one node, with a net: preview, apply, assert, status, rollback, export."""
