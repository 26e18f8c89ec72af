//! The `tokens` component: `airside::endpoint::tokens` on Spin.

airside_spin_ports::component!(airside::endpoint::tokens);
