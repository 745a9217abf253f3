//! ConvLSTM and ConvGRU on the CPU: stacked, bidirectional, variable lengths, peepholes, encoder-forecasters, training and streams.
