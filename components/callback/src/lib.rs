//! The `callback` component: `airside::endpoint::callback` on Spin.

airside_spin_ports::component!(airside::endpoint::callback);
