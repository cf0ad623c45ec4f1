"""The embedded cloud: AWS enough, on loopback, to run the deployed templates and the real handlers."""
