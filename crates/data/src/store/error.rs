//! What went wrong, in the words of S3.

use http::StatusCode;
use s3s::{S3Error, S3ErrorCode};

use super::index::IndexError;

impl From<IndexError> for S3Error {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::NoBucket => S3ErrorCode::NoSuchBucket.into(),
            IndexError::NotEmpty => S3ErrorCode::BucketNotEmpty.into(),
            IndexError::NoUpload => S3ErrorCode::NoSuchUpload.into(),
            IndexError::Condition => S3ErrorCode::PreconditionFailed.into(),
            IndexError::Database(redb::Error::Io(error)) => failed(error),
            IndexError::Database(_) | IndexError::Damaged(_) => {
                tracing::error!(?error, "the index failed");
                Self::with_source(S3ErrorCode::InternalError, Box::new(error))
            }
        }
    }
}

/// A failure of the disk; a full one by its name.
pub(super) fn failed(error: std::io::Error) -> S3Error {
    use std::io::ErrorKind;
    let full = matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    );
    if full {
        return no_room();
    }
    tracing::error!(%error, "the disk failed");
    S3Error::with_source(S3ErrorCode::InternalError, Box::new(error))
}

pub(super) fn no_room() -> S3Error {
    let mut error = S3Error::with_message(
        S3ErrorCode::Custom("InsufficientStorage".into()),
        "The disk of this store is full. Nothing was stored. Delete objects or give it more room.",
    );
    error.set_status_code(StatusCode::INSUFFICIENT_STORAGE);
    error
}

/// The sentence that Amazon's service gives with a code, for answers that carry none.
///
/// # Source
/// Amazon S3 API reference, "Error responses", and the service's answers.
pub(super) fn message(code: &str) -> &'static str {
    match code {
        "AccessDenied" => "Access Denied",
        "BadDigest" => {
            "The Content-MD5 or checksum value that you specified did not match what the server received."
        }
        "BucketAlreadyExists" => {
            "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again."
        }
        "BucketAlreadyOwnedByYou" => {
            "Your previous request to create the named bucket succeeded and you already own it."
        }
        "BucketNotEmpty" => "The bucket you tried to delete is not empty",
        "EntityTooLarge" => "Your proposed upload exceeds the maximum allowed object size.",
        "EntityTooSmall" => "Your proposed upload is smaller than the minimum allowed size",
        "ExpiredToken" => "The provided token has expired.",
        "IncompleteBody" => {
            "You did not provide the number of bytes specified by the Content-Length HTTP header."
        }
        "InternalError" => "We encountered an internal error. Please try again.",
        "InvalidAccessKeyId" => "The AWS Access Key Id you provided does not exist in our records.",
        "InvalidArgument" => "Invalid Argument",
        "InvalidBucketName" => "The specified bucket is not valid.",
        "InvalidDigest" => "The Content-MD5 you specified is not valid.",
        "InvalidPart" => {
            "One or more of the specified parts could not be found. The part might not have been uploaded, or the specified entity tag might not have matched the part's entity tag."
        }
        "InvalidPartOrder" => {
            "The list of parts was not in ascending order. Parts list must be specified in order by part number."
        }
        "InvalidRange" => "The requested range is not satisfiable",
        "InvalidRequest" => "Invalid Request",
        "InvalidURI" => "Couldn't parse the specified URI.",
        "KeyTooLongError" => "Your key is too long",
        "MalformedXML" => {
            "The XML you provided was not well-formed or did not validate against our published schema"
        }
        "MaxMessageLengthExceeded" => "Your request was too big.",
        "MetadataTooLarge" => "Your metadata headers exceed the maximum allowed metadata size",
        "MethodNotAllowed" => "The specified method is not allowed against this resource.",
        "MissingContentLength" => "You must provide the Content-Length HTTP header.",
        "NoSuchBucket" => "The specified bucket does not exist",
        "NoSuchKey" => "The specified key does not exist.",
        "NoSuchUpload" => {
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
        }
        "NotImplemented" => "A header you provided implies functionality that is not implemented",
        "PreconditionFailed" => "At least one of the pre-conditions you specified did not hold",
        "RequestTimeTooSkewed" => {
            "The difference between the request time and the current time is too large."
        }
        "SignatureDoesNotMatch" => {
            "The request signature we calculated does not match the signature you provided. Check your key and signing method."
        }
        "SlowDown" => "Please reduce your request rate.",
        _ => "The request could not be fulfilled.",
    }
}
