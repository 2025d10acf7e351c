use super::Result;
pub fn bundle() -> Result<()> {
    Ok(())
}
