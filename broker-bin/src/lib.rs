//! The natsd program as a library.
