//! Messages that are published later.

use super::Stream;
use super::draft::Draft;
use crate::config::Time;
use crate::error::ApiError;

impl Stream {
    /// Checks the fields of a message that is a schedule.
    pub(super) fn check_schedule(&self, draft: &mut Draft<'_>, _now: Time) -> Result<(), ApiError> {
        let is_schedule = draft.fields.schedule.is_some_and(|value| !value.is_empty());
        if is_schedule && !draft.is_sourced {
            return Err(ApiError::MESSAGE_SCHEDULES_DISABLED);
        }
        Ok(())
    }

    /// Checks the fields of a message that ends a schedule. `staged` tells for a subject if the last message that will be
    /// stored with it is a schedule.
    pub(super) fn check_scheduler(
        &mut self,
        draft: &Draft<'_>,
        _staged: impl Fn(&[u8]) -> Option<bool>,
    ) -> Result<(), ApiError> {
        let fields = &draft.fields;
        let has_any = [fields.schedule_next, fields.scheduler]
            .iter()
            .any(|field| field.is_some_and(|value| !value.is_empty()));
        if has_any && !draft.is_sourced {
            return Err(ApiError::MESSAGE_SCHEDULES_SCHEDULER_INVALID);
        }
        Ok(())
    }
}
