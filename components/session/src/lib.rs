//! The `session` component: `airside::endpoint::session` on Spin.

airside_spin_ports::component!(airside::endpoint::session);
