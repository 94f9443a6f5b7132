"""unit/ mirrors the code, flows/ tells stories, faults/ breaks, conformance/ meets real peers."""
