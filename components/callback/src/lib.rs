//! The `callback` component.
