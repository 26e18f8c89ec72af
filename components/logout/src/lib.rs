//! The `logout` component: `airside::endpoint::logout` on Spin.

airside_spin_ports::component!(airside::endpoint::logout);
