"""The films: a catalogue described for this project, to stand beside what real people watched."""
