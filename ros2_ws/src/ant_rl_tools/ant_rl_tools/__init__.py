"""What is done with the stack from a desktop: benchmarks, replay, reports, videos, demonstrations."""
