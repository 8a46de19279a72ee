"""Tasks as they are declared: their identity, their graph, and what their classes say of what they write."""
