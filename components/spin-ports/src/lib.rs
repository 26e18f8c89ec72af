//! airside ports on Spin.
