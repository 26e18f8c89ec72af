//! The `login` component: `airside::endpoint::login` on Spin.

airside_spin_ports::component!(airside::endpoint::login);
