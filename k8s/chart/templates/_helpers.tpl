{{- define "sam3.labels" -}}
app.kubernetes.io/part-of: sam3-serve
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* Priority classes belong to no namespace: another release of the same name has its own. */}}
{{- define "sam3.priority" -}}
{{ printf "%s-%s-serving" .Release.Namespace .Release.Name | trimPrefix "-" }}
{{- end }}

{{- define "sam3.ray" -}}
{app.kubernetes.io/part-of: sam3-serve, app.kubernetes.io/instance: {{ .Release.Name }}, ray.io/is-ray-node: "yes"}
{{- end }}

{{- define "sam3.http" -}}
{app.kubernetes.io/part-of: sam3-serve, app.kubernetes.io/instance: {{ .Release.Name }}, sam3/ingress: "true"}
{{- end }}

{{- /* An image of the registry by its digest, else by its tag. */}}
{{- define "sam3.image" -}}
{{- $image := index . 1 -}}
{{ with (index . 0).Values.images.registry }}{{ . }}/{{ end }}{{ $image.repository }}{{ if $image.digest }}@{{ $image.digest }}{{ else }}:{{ required "images: a tag or a digest" $image.tag }}{{ end }}
{{- end }}

{{- define "sam3.pull" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- end }}

{{- define "sam3.nobody" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "sam3.unprivileged" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
{{- end }}

{{- /* The environment of Ray and Serve, as variables of a container. They are no ConfigMap: Helm would delete the old one at once,
       and pods of the cluster that an upgrade replaces could not start any more. Takes the scope, and further variables. */}}
{{- define "sam3.environment" -}}
{{- $all := deepCopy (index . 1) }}
{{- with index . 0 }}
{{- range .Files.Lines "files/environment.env" }}
{{- if and . (not (hasPrefix "#" .)) }}
{{- $parts := splitn "=" 2 . }}
{{- $_ := set $all $parts._0 $parts._1 }}
{{- end }}
{{- end }}
{{- range $name, $value := .Values.env }}
{{- $_ := set $all $name $value }}
{{- end }}
{{- end }}
{{- range $name, $value := $all }}
- {name: {{ $name }}, value: {{ include "sam3.number" $value | quote }}}
{{- end }}
{{- end }}

{{- define "sam3.onGpus" -}}
{{- if eq (toString .Values.settings.device) "cuda" }}yes{{ end }}
{{- end }}

{{- /* Groups by name, without those that were set to null. */}}
{{- define "sam3.groups" -}}
{{- $found := dict }}
{{- range $name, $group := .Values.groups }}
{{- if $group }}{{ $_ := set $found $name $group }}{{ end }}
{{- end }}
{{- toJson $found }}
{{- end }}

{{- /* Bytes of embeddings: 60 % of the object stores that are always there, where encoders put them. */}}
{{- define "sam3.warmBytes" -}}
{{- $gib := 0.0 }}
{{- range $name, $group := include "sam3.groups" . | fromJson }}
{{- if has "encoder" $group.roles }}
{{- $gib = addf $gib (mulf $group.objectStoreGiB (max 1 (int $group.nodes.min))) }}
{{- end }}
{{- end }}
{{- mulf $gib 1073741824.0 0.6 | int64 }}
{{- end }}

{{- /* A claim that is filled elsewhere is another one than the claim that the Job fills: fields of a claim cannot be changed, and
       going over to `from: claim` leaves the old one alone. */}}
{{- define "sam3.claimName" -}}
{{ .Values.weights.claim.name | default (printf "%s-%s" .Release.Name (ternary "filled-weights" "weights" (eq .Values.weights.from "claim"))) }}
{{- end }}

{{- define "sam3.weights" -}}
/weights/{{ .Values.weights.file }}
{{- end }}

{{- /* A value as text. Helm reads every number as a floating point one, and writes a million as 1e+06. */}}
{{- define "sam3.number" -}}
{{- if and (kindIs "float64" .) (eq . (float64 (int64 .))) }}{{ int64 . }}{{ else }}{{ toString . }}{{ end }}
{{- end }}

{{- /* Whole numbers of settings as such: Helm reads every number as a floating point one. */}}
{{- define "sam3.settings" -}}
{{- $found := dict }}
{{- range $name, $value := .Values.settings }}
{{- if and (kindIs "float64" $value) (eq $value (float64 (int64 $value))) }}
{{- $_ := set $found $name (int64 $value) }}
{{- else }}
{{- $_ := set $found $name $value }}
{{- end }}
{{- end }}
{{- toJson $found }}
{{- end }}

{{- /* The Serve configuration, as tests compare it with what the application itself would book. */}}
{{- define "sam3.serve" -}}
{{- $service := .Release.Name }}
{{- $args := dict "access_log" "/proc/1/fd/1" "pool_nodes" "sam3/pool=true" "pool_shards" (int .Values.pool.shards)
  "ingress_replicas" (int .Values.ingress.replicas)
  "encoder_replicas" (int .Values.encoder.replicas) "encoder_max_replicas" (int .Values.encoder.maxReplicas)
  "encoder_num_cpus" .Values.encoder.cpus
  "decoder_replicas" (int .Values.decoder.replicas) "decoder_max_replicas" (int .Values.decoder.maxReplicas)
  "decoder_num_cpus" .Values.decoder.cpus
  "warm_bytes" (include "sam3.warmBytes" . | int64)
  "cold_bytes" (mulf .Values.store.filesGiB 1073741824.0 | int64) }}
{{- if include "sam3.onGpus" . }}
{{- $_ := set $args "encoder_num_gpus" .Values.encoder.gpus }}
{{- $_ := set $args "decoder_num_gpus" .Values.decoder.gpus }}
{{- end }}
{{- if .Values.tenants.secret }}
{{- $_ := set $args "api_keys_file" "/etc/sam3/keys.json" }}
{{- else }}
{{- $_ := set $args "allow_open" true }}
{{- $within := printf "%s.%s" $service .Release.Namespace }}
{{- $_ := set $args "allowed_hosts" (list $service $within (printf "%s.svc" $within) (printf "%s.svc.cluster.local" $within)) }}
{{- end }}
{{- if .Values.settings.models }}
{{- /* One of them has the chart's own weights, and so the deployments below; those of the others are not listed. */}}
{{- $_ := set $args "encoder_nodes" "sam3/encoder=true" }}
{{- $_ := set $args "decoder_nodes" "sam3/decoder=true" }}
{{- end }}
{{- if ne .Values.weights.from "none" }}
{{- $_ := set $args "checkpoint" (include "sam3.weights" .) }}
{{- end }}
{{- if not .Values.network.imageUrls }}
{{- $_ := set $args "image_urls" false }}
{{- end }}
proxy_location: EveryNode
http_options:
  host: 0.0.0.0
  port: 9001
applications:
  - name: sam3
    route_prefix: /
    import_path: serve_app.builder:build_app
    args:
      {{- mustMergeOverwrite $args (include "sam3.settings" . | fromJson) | toYaml | nindent 6 }}
    deployments:
      - name: Ingress
        ray_actor_options:
          num_cpus: {{ .Values.ingress.cpus }}
          label_selector: {sam3/ingress: "true"}
      - name: ImageEncoder
        ray_actor_options:
          num_cpus: {{ .Values.encoder.cpus }}
          {{- if include "sam3.onGpus" . }}
          num_gpus: {{ .Values.encoder.gpus }}
          {{- end }}
          label_selector: {sam3/encoder: "true"}
      - name: PromptDecoder
        ray_actor_options:
          num_cpus: {{ .Values.decoder.cpus }}
          {{- if include "sam3.onGpus" . }}
          num_gpus: {{ .Values.decoder.gpus }}
          {{- end }}
          label_selector: {sam3/decoder: "true"}
{{- end }}

{{- /* The volume that has the checkpoint. */}}
{{- define "sam3.weightsVolume" -}}
{{- $from := .Values.weights.from -}}
- name: weights
{{- if eq $from "image" }}
  image: {reference: {{ required "weights.image.reference" .Values.weights.image.reference | quote }}, pullPolicy: {{ .Values.weights.image.pullPolicy }}}
{{- else if eq $from "local" }}
  emptyDir: {sizeLimit: {{ .Values.weights.claim.storage }}}
{{- else }}
  persistentVolumeClaim: {claimName: {{ include "sam3.claimName" . }}, readOnly: true}
{{- end }}
{{- end }}

{{- define "sam3.weightsMount" -}}
{{- $path := "" }}
{{- if eq .Values.weights.from "image" }}{{ $path = .Values.weights.image.subPath }}{{ end -}}
{name: weights, mountPath: /weights, readOnly: true{{ with $path }}, subPath: {{ . }}{{ end }}}
{{- end }}

{{- /* How a download from the Hub is told where and with which token. */}}
{{- define "sam3.fetchCommand" -}}
{{ list "hf" "download" .Values.weights.hub.repository .Values.weights.file "--local-dir" "/weights" | toJson }}
{{- end }}

{{- define "sam3.fetchEnv" -}}
- name: HF_TOKEN
  valueFrom: {secretKeyRef: {name: {{ .Values.weights.hub.secret }}, key: token}}
- {name: HF_HOME, value: /tmp/hf}
- {name: HF_HUB_OFFLINE, value: "0"}
{{- end }}

{{- /* An init container that fetches the checkpoint to its node's disk. KubeRay deletes a pod whose init container failed at once,
       and its log with it: so a failure is held for five minutes. */}}
{{- define "sam3.fetchLocal" -}}
{{- $local := .Values.weights.local }}
{{- $ours := include "sam3.image" (list . .Values.images.model) }}
- name: fetch-weights
  image: {{ ternary ($local.image | default $ours) $ours (gt (len $local.command) 0) }}
  imagePullPolicy: {{ .Values.images.pullPolicy }}
  command:
    - sh
    - -c
    - '"$@" && exit; status=$?; echo "fetch-weights: $1 ended with $status (docs/kubernetes.md#a-pod-is-stuck)" >&2; sleep 300; exit "$status"'
    - fetch-weights
    {{- range $local.command | default (include "sam3.fetchCommand" . | fromJsonArray) }}
    - {{ . | quote }}
    {{- end }}
  env:
    {{- if $local.command }}
    {{- toYaml $local.env | nindent 4 }}
    {{- else }}
    {{- include "sam3.fetchEnv" . | nindent 4 }}
    {{- end }}
  securityContext:
    {{- include "sam3.unprivileged" . | nindent 4 }}
  # As much as it may use, so that the pod's class is Guaranteed.
  resources:
    requests: {cpu: 500m, memory: 1Gi}
    limits: {cpu: 500m, memory: 1Gi}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    - {name: weights, mountPath: /weights}
{{- end }}

{{- /* Peers: names, and public addresses on 443. */}}
{{- define "sam3.names" -}}
- to:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
    - ipBlock: {cidr: 169.254.20.10/32} # where the nodes cache names (NodeLocal DNSCache)
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end }}

{{- define "sam3.public" -}}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: [0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/4, 240.0.0.0/4]
    - ipBlock:
        cidr: ::/0
        except: ["::/127", "::ffff:0:0/96", "64:ff9b::/96", "fc00::/7", "fe80::/10", "ff00::/8"]
  ports: [{port: 443, protocol: TCP}]
{{- end }}

{{- /* Names of the groups whose nodes hold the model. */}}
{{- define "sam3.modelGroups" -}}
{{- $found := list }}
{{- range $name, $group := include "sam3.groups" . | fromJson }}
{{- if or (has "encoder" $group.roles) (has "decoder" $group.roles) }}{{ $found = append $found $name }}{{ end }}
{{- end }}
{{- toJson $found }}
{{- end }}
