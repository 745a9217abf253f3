//! Attention on the CPU: scores, multi-head, sequence to sequence, temporal and spatial attention, training and streams.
