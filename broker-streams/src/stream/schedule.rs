//! Messages that are published later.

use super::Stream;
use super::draft::Draft;
use crate::config::Time;
use crate::error::ApiError;

impl Stream {
    /// Checks the fields of a message that is a schedule.
    pub(super) fn check_schedule(&self, draft: &mut Draft<'_>, _now: Time) -> Result<(), ApiError> {
        let fields = &draft.fields;
        let is_scheduled = [fields.schedule, fields.schedule_next, fields.scheduler]
            .iter()
            .any(|field| field.is_some_and(|value| !value.is_empty()));
        if is_scheduled && !draft.is_sourced {
            return Err(ApiError::MESSAGE_SCHEDULES_DISABLED);
        }
        Ok(())
    }
}
