//! The `tokens` component: `airside::endpoint::tokens` on Spin.

airside_spin_ports::component_with_counters!(airside::endpoint::tokens);
