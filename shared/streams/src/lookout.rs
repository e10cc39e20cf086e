//! Says that a topic is another one than that which is known here.

use crate::error::Error;

/// An error that says that a topic is another one than that which is known here.
pub(crate) fn made_anew(topic: &str, former: &str, id: &str) -> Error {
    let cause = format!(
        "it was made anew: its id is {id}, and what is known here is of the one with the id \
         {former}, whose records are gone. If all topics of the application were made anew, \
         `reset` forgets what is known here; else `reset --anew --output-prefix NEW` decides what \
         there is, into empty topics"
    );
    Error::Topic { topic: topic.to_owned(), cause }
}
