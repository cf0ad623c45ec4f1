"""The detector's memory of up to 50 servers: its arrays, its bytes, and what one commit changed of them."""
