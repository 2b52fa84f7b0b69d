//! Who waits, and that nobody is forgotten or left behind.
