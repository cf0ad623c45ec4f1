"""What senders speak: one module a wire format, pure; each turns bytes into observations or reasons."""
