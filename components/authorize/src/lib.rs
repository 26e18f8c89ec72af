//! The `authorize` component: `airside::endpoint::authorize` on Spin.

airside_spin_ports::gate!();
