//! The `authorize` component.
