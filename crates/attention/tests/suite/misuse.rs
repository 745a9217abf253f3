//! Every misuse has its error.
