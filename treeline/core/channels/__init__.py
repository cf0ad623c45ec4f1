"""The ways to look at a server, one module each; `registry` lists them, docs/channels.md tells them."""
