//! Predicates for fields that serde omits.

/// Returns true if a switch is off.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
pub(super) fn is_false(value: &bool) -> bool {
    !*value
}

/// Returns true for the number zero.
pub(super) fn is_0<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}
