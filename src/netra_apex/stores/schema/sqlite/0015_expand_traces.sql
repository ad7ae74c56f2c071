-- Where a run is in its trace, as W3C traceparent values: what all of it is under, and its last segment.

alter table runs add column trace text;
alter table runs add column trace_last text;
