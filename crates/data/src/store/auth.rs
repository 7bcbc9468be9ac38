//! Who may sign requests.

use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};

use super::Store;

#[async_trait::async_trait]
impl S3Auth for Store {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        self.inner
            .credentials
            .iter()
            .find(|credentials| credentials.access_key() == access_key)
            .map(|credentials| SecretKey::from(credentials.expose_secret()))
            .ok_or_else(|| s3_error!(InvalidAccessKeyId))
    }
}
