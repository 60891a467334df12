"""What every layer stands on: errors, shapes, configs, model folders, video files, device, memory. Knows no model."""
