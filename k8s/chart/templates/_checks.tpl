{{- /* Values that fit one by one, and not together: each message names the value to change. */}}
{{- define "sam3.checks" -}}
{{- $v := .Values }}
{{- $onGpus := include "sam3.onGpus" . }}
{{- $nodes := dict }}
{{- range $name, $group := include "sam3.groups" . | fromJson }}
{{- $model := or (has "encoder" $group.roles) (has "decoder" $group.roles) }}
{{- if gt (int $group.nodes.min) (int $group.nodes.max) }}
{{- fail (printf "groups.%s.nodes: min is above max" $name) }}
{{- end }}
{{- if and $model (eq $group.image "http") }}
{{- fail (printf "groups.%s.image: http has no torch, and the group holds encoders or decoders" $name) }}
{{- end }}
{{- if and $group.gpus (not $onGpus) }}
{{- fail (printf "groups.%s.gpus: settings.device is %v, so nothing would use them" $name $v.settings.device) }}
{{- end }}
{{- range $role := $group.roles }}
{{- $_ := set $nodes $role (add (get $nodes $role | default 0) (int $group.nodes.min)) }}
{{- if and (has $role (list "encoder" "decoder")) $onGpus (gt (float64 (get $v $role).gpus) (float64 $group.gpus)) }}
{{- fail (printf "groups.%s.gpus: a replica takes %v (%s.gpus)" $name (get $v $role).gpus $role) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $role := list "ingress" "pool" "encoder" "decoder" }}
{{- if not (hasKey $nodes $role) }}
{{- fail (printf "groups: no group has the role %s" $role) }}
{{- end }}
{{- end }}
{{- range $role := list "encoder" "decoder" }}
{{- if gt (int (get $v $role).replicas) (int (get $v $role).maxReplicas) }}
{{- fail (printf "%s.replicas is above %s.maxReplicas" $role $role) }}
{{- end }}
{{- end }}
{{- range $role, $least := $v.budgets }}
{{- if and $least (ge (int $least) (int (get $nodes $role))) }}
{{- fail (printf "budgets.%s: with %v nodes of that role, no machine could be drained" $role (get $nodes $role)) }}
{{- end }}
{{- end }}
{{- if and (eq $v.weights.from "none") (eq (toString $v.settings.model) "sam3") (not $v.settings.checkpoint) (not $v.settings.models) }}
{{- fail "weights.from: sam3 is not in the image (or set settings.checkpoint, if it is in yours)" }}
{{- end }}
{{- if and (not $v.store.bundled) (not $v.store.external.cidrs) }}
{{- fail "without store.bundled, store.external.cidrs must say where the server is: the network policies let nobody out otherwise" }}
{{- end }}
{{- if and $v.gcs.faultTolerant (not $v.store.bundled) (not $v.gcs.address) }}
{{- fail "gcs.address: without store.bundled, say which server keeps the head's state" }}
{{- end }}
{{- if and $v.gcs.faultTolerant $v.gcs.address (not $v.store.external.cidrs) }}
{{- fail "with gcs.address, store.external.cidrs must say where that server is, for the head's network policy" }}
{{- end }}
{{- if and $v.upgrade.incremental (gt (int $v.upgrade.stepPercent) (int $v.upgrade.surgePercent)) }}
{{- fail "upgrade.stepPercent is above upgrade.surgePercent, which the operator refuses" }}
{{- end }}
{{- end }}

{{- /* Settings that the chart writes go before the environment: a variable of that name would do nothing. */}}
{{- define "sam3.checkEnv" -}}
{{- $written := (first (include "sam3.serve" . | fromYaml).applications).args }}
{{- range $name, $value := .Values.env }}
{{- $setting := trimPrefix "sam3_" (lower $name) }}
{{- if and (hasPrefix "sam3_" (lower $name)) (hasKey $written $setting) }}
{{- fail (printf "env.%s: the chart writes this setting itself, and goes before it; set settings.%s" $name $setting) }}
{{- end }}
{{- end }}
{{- end }}
