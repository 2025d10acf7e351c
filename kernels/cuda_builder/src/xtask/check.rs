use super::Result;
pub fn check() -> Result<()> {
    Ok(())
}
